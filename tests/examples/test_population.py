"""The example of populations at tiny size: a schedule, the grid, a figure."""

from __future__ import annotations

from click.testing import CliRunner

from examples.population import main


def test_a_population_beside_a_grid(tmp_path):
    arguments = ["--steps", "20", "--workers", "2", "--rates", "2", "--output", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "validation loss" in result.output
    assert (tmp_path / "population.png").exists()
