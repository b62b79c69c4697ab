"""Q(1), Q'(1), C'(1) and C''(1) of a transform at 32 digits."""

from tests import oracles
from tests.oracles import FORMULAS, MP


def exact(name, input_scale, input_shift, output_shift, output_scale):
    """Q(1), Q'(1), C'(1) and C''(1) at 32 digits."""
    s = oracles.samples(FORMULAS[name], input_scale, input_shift)
    a, b, d, g = (MP.mpf(value) for value in (input_scale, input_shift, output_shift, output_scale))
    f = [g * (value + d) for value in s.value]
    slope = [g * a * first for first in s.first]
    bend = [g * a * a * FORMULAS[name].second(a * x + b) for x in s.x]
    q = MP.fsum(w * y * y for w, y in zip(s.w, f, strict=True))
    dq = MP.fsum(w * y * z * x for w, y, z, x in zip(s.w, f, slope, s.x, strict=True))
    energy, curved = (MP.fsum(w * z * z for w, z in zip(s.w, row, strict=True)) for row in (slope, bend))
    return {"Q(1)": q, "Q'(1)": dq, "C'(1)": energy / q, "C''(1)": curved / q}
