"""Matrix multiplication by table lookup: hash trees, tables, networks of them."""
