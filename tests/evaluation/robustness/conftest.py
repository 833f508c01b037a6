"""What is watched of a measurement."""

import pytest

from bnn_jax.evaluation.robustness import outcomes


@pytest.fixture
def recorded(monkeypatch):
    """The corruptions of which anything is recorded from here on."""
    seen, record = set(), outcomes.Outcomes.record

    def watched(self, cell, first, values):
        seen.add(cell.corruption)
        record(self, cell, first, values)

    monkeypatch.setattr(outcomes.Outcomes, "record", watched)
    return seen
