"""`python -m electra_zh` is `electra-zh`."""

from electra_zh.cli import main

if __name__ == "__main__":
    main()
