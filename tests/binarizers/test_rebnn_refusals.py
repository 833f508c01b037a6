"""What ReBNN refuses: options out of range, and params, memory or gradients of another weight."""

import re

import jax.numpy as jnp
import pytest

from bnn_jax.binarizers import Gradients, rebnn

SHAPE = (12, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": "adaptiv"}, "unknown gamma 'adaptiv': expected one of"),
        ({"gamma": "constant", "constant": -1.0}, "a number of 0 or more, found 'constant' and -1.0"),
        ({"gamma": "constant", "constant": float("nan")}, "a number of 0 or more, found 'constant' and nan"),
        ({"constant": 1e-3}, "constant needs gamma 'constant' .* found 'adaptive' and 0.001"),
        ({"gamma": "released", "constant": 1e-3}, "constant needs gamma 'constant'"),
        ({"gamma": 2e-4}, "unknown gamma 0.0002: .*gamma='constant', constant=2e-4"),
        ({"gamma": "constant", "constant": "1e-3"}, "a number of 0 or more, found 'constant' and '1e-3'"),
        ({"gamma": "constant", "clip": (0.0, 1.0)}, "clip needs gamma 'adaptive' .*, found 'constant'"),
        *(
            ({"clip": clip}, f"two numbers, 0 <= lower <= upper.*found 'adaptive' and {re.escape(repr(clip))}")
            for clip in ((2e-4, 1e-5), (1e-5,), 2e-4, (0.0, 1.0, 2.0), (float("inf"),) * 2, ("a", "b"), ())
        ),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rebnn(**options)


class TestWhatBelongsToAnotherWeight:
    W, PARAMS, MEMORY = jnp.ones(SHAPE), {"scale": jnp.ones(3)}, rebnn().init_memory(jnp.ones(SHAPE))

    @pytest.mark.parametrize("found", [{}, {"gamma": jnp.ones(1)}, {"gamma": jnp.ones(2)}, {"code": jnp.ones(3)}])
    def test_memory(self, found):
        with pytest.raises(ValueError, match=r"needs a memory with gamma \(3,\).* found .*start from init_memory"):
            rebnn().penalty(self.W, self.PARAMS, found, progress=0.0)

    @pytest.mark.parametrize("function", ["apply", "penalty"])
    def test_params_without_a_scale(self, function):
        given = (self.W, {}) if function == "apply" else (self.W, {}, self.MEMORY)
        with pytest.raises(ValueError, match=r"needs params with a scale, found \[\]: make them with init_params"):
            getattr(rebnn(), function)(*given, progress=0.0)

    @pytest.mark.parametrize("wrong", ["after", "code"])
    def test_weights_and_gradients_of_a_step(self, wrong):
        other = jnp.ones((*SHAPE[:-1], 1))
        after, code = (other, self.W) if wrong == "after" else (self.W, other)
        gradients = Gradients(self.W, self.PARAMS, code)
        with pytest.raises(ValueError, match="weight before, after and its code's gradient alike, found"):
            rebnn().update(self.MEMORY, (self.W, self.PARAMS), (after, self.PARAMS), gradients)

    def test_a_scale_of_a_step(self):
        before = (self.W, {"scale": jnp.ones(1)})
        with pytest.raises(ValueError, match=r"needs a scale \(3,\)"):
            rebnn().update(self.MEMORY, before, before, Gradients(self.W, self.PARAMS, self.W))

    @pytest.mark.parametrize(("w", "error"), [(jnp.ones(SHAPE, jnp.int32), TypeError), (jnp.ones(3), ValueError)])
    def test_weights_that_have_no_filters(self, w, error):
        with pytest.raises(error, match="rebnn needs"):
            rebnn().quantize(w, {"scale": jnp.ones(3)}, {}, train=True, progress=0.0)
