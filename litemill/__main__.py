"""`python -m litemill`: the same as the program `litemill`."""

from litemill.cli.app import main

if __name__ == "__main__":
    main()
