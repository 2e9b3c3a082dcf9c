"""What a server tells under ``/metrics``."""

from prometheus_client.parser import text_string_to_metric_families


def samples(text):
    """Name and labels of each sample → value."""
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[(sample.name, *sample.labels.values())] = sample.value
    return values
