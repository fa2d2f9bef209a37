"""List decoding of polar codes with path-selection flips: golden models of Fast-SCLF."""
