"""Binary and binary complex networks: training, integer networks, and what engines take.

Papers: Li, Geng, Li, Yu: "BCNN: Binary Complex Neural Network" (arXiv 2104.10044); Peng et al.:
"Binary Complex Neural Network Acceleration on FPGA" (ASAP 2021).
"""
