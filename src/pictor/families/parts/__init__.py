"""Parts that families share: files, hashes, tokens, their schedulers' configurations."""
