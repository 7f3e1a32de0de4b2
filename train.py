"""The same as `gollum run`: python train.py --config=configs/pllm_phi.yaml."""

import sys

from gollum.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
