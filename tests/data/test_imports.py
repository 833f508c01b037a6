def test_importing_data_is_quick(run_python):
    code = """
        import sys
        import bnn_jax.data
        heavy = {"array_record", "grain", "sklearn", "tensorflow", "tensorflow_datasets"}
        print(sorted(heavy & set(sys.modules)))
    """
    assert run_python(code).strip() == "[]"


def test_every_public_name_is_there():
    from bnn_jax import data

    assert sorted(data.__all__) == data.__all__
    assert all(getattr(data, name).__doc__ for name in data.__all__)
