"""The compiled kernels (csrc/): extension modules only; dlkit.backends.native calls them."""
