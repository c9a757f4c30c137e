"""`python -m ovocr`, and `torchrun ... -m ovocr train CONFIG.toml`."""

from ovocr.cli import main

if __name__ == "__main__":
    main()
