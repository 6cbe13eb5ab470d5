"""Tables of the readmes, made of the records that lie beside them; `readme_tables` writes them."""
