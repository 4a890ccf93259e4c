"""What runs inside the zygote: stdlib only, one module per kernel mechanism."""
