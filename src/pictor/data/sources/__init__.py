"""Kinds of sources of pictures, one a file, told apart by what is there; `registry` finds and opens them."""
