"""`python -m sslcli`, the same as `sslcli`."""

from sslcli.cli import main

if __name__ == "__main__":
    main()
