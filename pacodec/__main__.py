"""`python -m pacodec`: the command line without its script."""

from pacodec.cli import main

if __name__ == "__main__":
    main(prog_name="pacodec")
