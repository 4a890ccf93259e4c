"""Guest environments: the pinned packages that the model's code may import."""
