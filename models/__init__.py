"""Golden models and the algorithms around them."""
