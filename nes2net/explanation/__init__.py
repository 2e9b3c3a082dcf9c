"""Which parts of a recording move its score: in time, in frequency, and over the layers."""

from nes2net.explanation.explain import EXPLANATION_METHODS, Explanation, How, explain
from nes2net.explanation.faithfulness import Check
from nes2net.explanation.layers import Layers
from nes2net.explanation.relevance import Part, Relevance

__all__ = ["EXPLANATION_METHODS", "Check", "Explanation", "How", "Layers", "Part", "Relevance", "explain"]
