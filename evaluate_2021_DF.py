"""EER of a score file on ASVspoof 2021 DF: evaluate_2021_DF.py SCORES KEYS PHASE"""

from nes2net.cli.published.evaluation import evaluate_2021_df

if __name__ == "__main__":
    raise SystemExit(evaluate_2021_df())
