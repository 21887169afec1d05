"""`python -m adapter_stilts`, as `torchrun -m` needs it."""

from adapter_stilts.entry import main

if __name__ == "__main__":
    main()
