"""The fixture that makes a gradient check one line of a test."""

pytest_plugins = ["pytester"]


def test_the_fixture_makes_a_test_one_line(pytester):
    pytester.makeconftest('pytest_plugins = ["cnnjax.gradients.pytest_plugin"]')
    pytester.makepyfile(
        """
        import jax.numpy as jnp

        def test_right(check_gradients):
            check_gradients(jnp.sin, (jnp.ones(2),), modes="rev")

        def test_wrong(check_gradients):
            check_gradients(jnp.sqrt, (jnp.zeros(2),), modes="rev")
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*not finite where the function is*"])
    result.stdout.no_fnmatch_line("*report = _verified*")
