"""Parts of equations as a network: which constants are one, and which outputs are one product of matrices."""
