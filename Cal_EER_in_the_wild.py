"""EER of a score file on In-the-Wild: Cal_EER_in_the_wild.py --path SCORES [--labels_file META]"""

from nes2net.cli.published.evaluation import cal_eer_in_the_wild

if __name__ == "__main__":
    raise SystemExit(cal_eer_in_the_wild())
