"""The CLSL head: architecture, losses and gradient training."""
