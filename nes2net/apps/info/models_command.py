"""`nes2net models`: list the detectors and front-ends that are fetched by name, or describe one of them."""

from __future__ import annotations

from nes2net.lib.errors import check_known
from nes2net.lib.shell.commands import command_facts


@command_facts(
    about="A file is fetched once from its publisher, checked, and kept in the folder of huggingface_hub (HF_HOME)."
)
def models(name: str | None = None, *, json_: bool = False) -> None:
    """List the detectors that --model fetches by name, or describe one of them.

    Example:
        nes2net models
        nes2net models AASIST
        nes2net predict recording.wav --model AASIST

    Args:
        name: print the card of this detector, or of this front-end for ssl_checkpoint
        json_: print the list or the card as JSON
    """
    from nes2net.apps.info.models import models_as_data, models_sheet
    from nes2net.lib.output.sheet import as_json
    from nes2net.lib.output.terminal import print_output
    from nes2net.models.frontends.sizes import SIZES
    from nes2net.models.published_models import PUBLISHED

    if name is not None:
        from nes2net.apps.info.command import info

        check_known([name], [*PUBLISHED, *SIZES], "there is no model", "nes2net models")
        info(name, json_=json_)
    elif json_:
        print_output(as_json(models_as_data()))
    else:
        print_output(models_sheet().text())
