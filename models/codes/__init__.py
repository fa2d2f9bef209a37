"""Binary linear codes, the channel they are sent over, and error rates counted.

``code("polar-128-105-crc11")`` of :mod:`.named` makes any of them from its name.
"""
