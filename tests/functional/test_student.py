"""Student's distribution against tables, and Holm's correction against its definition."""

import math

import pytest

from mer_zoo.functional.student import effective_freedom, holm, student_quantile, two_sided_p


@pytest.mark.parametrize(
    ("share", "freedom", "value"),
    [
        (0.95, 1, 12.7062),
        (0.95, 2, 4.3027),
        (0.99, 5, 4.0321),
        (0.9, 10, 1.8125),
        (0.95, 120, 1.9799),
        (0.5, 3, 0.7649),
    ],
)
def test_quantiles_are_those_of_tables(share: float, freedom: float, value: float) -> None:
    assert student_quantile(share, freedom) == pytest.approx(value, abs=2e-4)
    assert two_sided_p(value, freedom) == pytest.approx(1 - share, abs=2e-5)


def test_many_degrees_of_freedom_are_the_normal_distribution() -> None:
    assert student_quantile(0.95, 9999) == pytest.approx(student_quantile(0.95, 10_001), abs=5e-4)
    assert two_sided_p(1.96, 9999) == pytest.approx(two_sided_p(1.96, 10_001), abs=5e-5)
    assert student_quantile(0.95, 3.5) < student_quantile(0.95, 3)


def test_parts_of_a_variance() -> None:
    assert effective_freedom([2.0], [7]) == 7
    assert 4 < effective_freedom([3.0, 1.0], [4, 100]) < 104
    assert effective_freedom([0.0, 0.0], [4, 100]) == 4


def test_holm() -> None:
    assert holm([]) == []
    assert holm([0.5]) == [0.5]
    assert holm([0.02, 0.5, 0.001, 0.9]) == pytest.approx([0.06, 1.0, 0.004, 1.0])
    assert math.isclose(max(holm([0.6, 0.7])), 1.0)
