"""DNN graph in, schedule out."""
