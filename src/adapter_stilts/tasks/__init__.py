"""Tasks: what is learnt and evaluated, one file each."""
