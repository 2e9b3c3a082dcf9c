"""The back-ends of lab260's Spectra detectors, and the Kolmogorov-Arnold layer, as published."""

import pytest
import torch
from builders import zoo

from nes2net import create_backend
from nes2net.models.backends.kan import KanLinear


@pytest.mark.parametrize(
    "name, tolerance",
    [("spectra_0_d48_c32", 5e-5), ("spectra_aasist_d40_r24_g16", 1e-5), ("spectra_aasist3_d40_r24_g6", 2e-5)],
)
def test_backends_are_the_published(name, tolerance, monkeypatch):
    """A variance of two frames, Σ w·h² − μ², has fewer digits in float32; float64 agrees to 1e-8."""
    file = zoo.read(name)
    options = dict(file["config"])
    backend = create_backend(options.pop("backend"), **options)
    backend.load_state_dict({key: value.float() for key, value in file["state_dict"].items()})
    monkeypatch.setattr(zoo, "AGREES", tolerance)
    monkeypatch.setattr(zoo, "AGREES_F64", 1e-8)
    monkeypatch.setattr(zoo, "GRADIENTS", 1e-5)
    for case in file["cases"].values():
        zoo.check_case(backend, case, case["features"])
        if "embedding" in case:
            with torch.no_grad():
                zoo.close(backend.embed(case["features"]), case["embedding"], tolerance)


@pytest.mark.parametrize("name", ["5x3_grid16_order4", "4x6_grid5_order3"])
def test_the_kan_layer_is_the_published(name):
    case = zoo.read("spectra_kan")[name]
    layer = KanLinear(**case["config"])
    layer.load_state_dict({key: value.float() for key, value in case["state_dict"].items()})
    zoo.close(layer(case["x"]), case["output"], 2e-5)
    layer.double()
    x = case["x"].double().requires_grad_()
    zoo.close(layer.bases(case["x"].double()), case["bases"].double(), 1e-6)
    output = layer(x)
    zoo.close(output, case["output_f64"], 1e-8)


@pytest.mark.parametrize("name", ["5x3_grid16_order4", "4x6_grid5_order3"])
def test_splines_are_0_beyond_the_grid_and_take_given_values_at_the_knots(name):
    case = zoo.read("spectra_kan")[name]
    config = case["config"]
    layer = KanLinear(**config).double()
    beyond = torch.full((1, config["in_features"]), 9.0, dtype=torch.float64)
    assert not layer.bases(beyond).any()
    values = torch.randn(config["grid_size"] + 1, config["in_features"], config["out_features"], dtype=torch.float64)
    weights = layer.coefficients(values)  # o×i×(G + k)
    inside = values[:-1]  # the last knot begins the next cell
    order = config["spline_order"]
    knots = layer.grid[0, order : order + config["grid_size"]]
    bases = layer.bases(knots.unsqueeze(1).expand(-1, config["in_features"]))
    torch.testing.assert_close(torch.einsum("kig,oig->kio", bases, weights), inside, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "name, backend, options",
    [
        ("Spectra-0", "spectra_ecapa", {}),
        ("Spectra-AASIST", "spectra_aasist", {}),
        ("Spectra-AASIST3", "spectra_aasist", {"layer": "kan"}),
    ],
)
def test_names_and_shapes_are_those_of_the_released_files(name, backend, options):
    with torch.device("meta"):
        found = {key: list(value.shape) for key, value in create_backend(backend, **options).state_dict().items()}
    assert found == zoo.manifest("spectra", name)[1]
