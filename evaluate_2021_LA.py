"""min t-DCF and EER of a score file on ASVspoof 2021 LA: evaluate_2021_LA.py SCORES KEYS PHASE"""

from nes2net.cli.published.evaluation import evaluate_2021_la

if __name__ == "__main__":
    raise SystemExit(evaluate_2021_la())
