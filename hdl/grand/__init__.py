"""The hardware that ORBGRAND and step-GRAND share."""
