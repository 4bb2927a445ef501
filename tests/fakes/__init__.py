"""Working stand-ins for whole parts."""
