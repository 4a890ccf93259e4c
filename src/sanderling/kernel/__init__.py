"""Inside the box: stdlib only, imports nothing of ours."""
