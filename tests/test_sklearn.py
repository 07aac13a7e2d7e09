"""The estimators: scikit-learn's own checks, its tools around them, and what they learn."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from dlkit import nn, ops, threads
from dlkit.errors import ConfigError, DivergedError, DTypeError, ShapeError
from dlkit.sklearn import DLKitClassifier, DLKitRegressor

X, Y = np.eye(6), np.arange(6) % 2


@pytest.fixture(autouse=True)
def _one_thread():  # networks so small that threads only wait for each other
    with threads.limited(1):
        yield


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return train_test_split(x, y, test_size=400, random_state=0, stratify=y)


@parametrize_with_checks([DLKitClassifier(), DLKitRegressor()])  # none is excluded
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_learns_digits(digits):
    x, xt, y, yt = digits
    assert DLKitClassifier(epochs=20, random_state=0).fit(x, y).score(xt, yt) > 0.96


def test_a_convolutional_network_sees_the_pixels_as_a_picture(digits):
    x, xt, y, yt = digits
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    net = DLKitClassifier(image_shape=(8, 8, 1), width=16, epochs=12, dtype="float32", random_state=0).fit(x, names[y])
    assert any(isinstance(m, nn.Conv2d) for m in net.network_.modules())
    assert net.score(xt, names[yt]) > 0.96
    assert set(net.classes_) == set(names)


def test_rows_of_pixels_reach_the_network_as_images_with_scaled_channels(rng):
    x = rng.random((6, 5 * 4 * 3)) * np.tile([1, 10, 100], 20)
    seen = []

    class Looks(nn.Module):
        def __init__(self):
            self.head = nn.Linear(60, 2)

        def forward(self, images):
            seen.append(images.numpy())
            return self.head(images.reshape(images.shape[0], 60))

    DLKitClassifier(lambda shape, outputs: Looks(), image_shape=(5, 4, 3)).fit(x, Y).predict(x)
    images = x.reshape(6, 5, 4, 3)
    expected = (images - images.mean(axis=(0, 1, 2))) / images.std(axis=(0, 1, 2))
    np.testing.assert_allclose(seen[-1], expected, atol=1e-12)


def test_pipeline_grid_search_in_two_processes(digits):
    x, _, y, _ = digits
    x, y = x[:300], y[:300]
    steps = make_pipeline(PCA(20), DLKitClassifier(epochs=10, random_state=0))
    grid = {"dlkitclassifier__hidden": [(2,), (64,)], "dlkitclassifier__lr": np.array([1e-6, 0.01])}
    found = GridSearchCV(steps, grid, cv=2, n_jobs=2).fit(x, y)
    assert found.best_params_ == {"dlkitclassifier__hidden": (64,), "dlkitclassifier__lr": 0.01}
    alone = GridSearchCV(steps, grid, cv=2).fit(x, y)
    assert np.array_equal(found.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


def test_regression():
    x, y = load_diabetes(return_X_y=True)
    net = DLKitRegressor(hidden=(32,), epochs=40, weight_decay=0.01, lr=0.003, random_state=0)
    assert cross_val_score(net, x, y, cv=3).mean() > 0.4  # ridge regression: 0.48


def test_several_targets_of_different_size(rng):
    x = rng.standard_normal((400, 3))
    y = np.stack([1000 * x[:, 0], 0.001 * x[:, 1] + 5], axis=1)
    net = DLKitRegressor(hidden=(32,), epochs=60, random_state=0).fit(x, y)
    assert net.predict(x[:7]).shape == (7, 2)
    assert net.score(x, y) > 0.98


def test_the_same_random_state_gives_the_same_network_another_another(digits):
    x, xt, y, _ = digits
    settings = {"epochs": 2, "dropout": 0.3, "hidden": (16,)}
    first = DLKitClassifier(**settings, random_state=3).fit(x, y).predict_proba(xt)
    assert np.array_equal(first, DLKitClassifier(**settings, random_state=3).fit(x, y).predict_proba(xt))
    assert not np.array_equal(first, DLKitClassifier(**settings, random_state=4).fit(x, y).predict_proba(xt))


def test_pickle_clone_and_going_on_after_either(digits):
    x, xt, y, _ = digits
    net = DLKitClassifier(activation="gelu", batch_norm=True, optimizer="momentum", epochs=2, random_state=0).fit(x, y)
    again = pickle.loads(pickle.dumps(net))
    assert np.array_equal(net.predict_proba(xt), again.predict_proba(xt))
    # the optimiser goes along, tied to the network's own parameters
    assert np.array_equal(net.partial_fit(x, y).predict_proba(xt), again.partial_fit(x, y).predict_proba(xt))
    new = clone(net)
    assert new.get_params() == net.get_params()
    assert not hasattr(new, "network_")


def test_one_full_batch_step_follows_the_formula():
    """Logistic regression from zero weights: w = -lr · mean of x (p - one-hot), p = 1/2."""
    x = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]])
    y = np.array(["a", "b", "b"])
    weight = np.array([2.0, 1.0, 3.0])
    net = DLKitClassifier("logistic", epochs=1, optimizer="sgd", lr=0.1, schedule="constant", standardize=False)
    net.fit(x, y, sample_weight=weight)
    wrong = 0.5 - np.array([[1, 0], [0, 1], [0, 1]])
    share = (weight / weight.sum())[:, None]
    layer = net.network_[1]
    np.testing.assert_allclose(layer.weight.numpy(), -0.1 * x.T @ (share * wrong), atol=1e-12)
    np.testing.assert_allclose(layer.bias.numpy(), -0.1 * (share * wrong).sum(axis=0), atol=1e-12)
    assert net.loss_curve_ == pytest.approx([np.log(2)])


def test_partial_fit_learns_from_one_chunk_after_another(digits):
    x, xt, y, yt = digits
    net = DLKitClassifier(hidden=(64,), random_state=0)
    scaler = StandardScaler().fit(x[:500])
    for _ in range(12):
        for at in range(0, len(x), 500):
            net.partial_fit(scaler.transform(x[at : at + 500]), y[at : at + 500], classes=range(10))
    assert len(net.loss_curve_) == 36
    assert net.score(scaler.transform(xt), yt) > 0.93


def test_partial_fit_after_fit_learns_at_the_rate_asked_for():
    """Not at the one the schedule ended with, a fraction of a thousandth of it."""
    net = DLKitClassifier(hidden=(16,), epochs=5, random_state=0).fit(X, Y)
    for _ in range(60):
        net.partial_fit(X, 1 - Y)
    assert net.score(X, 1 - Y) > 0.9


def test_a_function_that_builds_the_network(digits):
    x, _, y, _ = digits
    asked = []

    def build(input_shape, outputs):
        asked.append((input_shape, outputs))
        return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))

    net = DLKitClassifier(build, epochs=5, lr=0.03, random_state=0).fit(x, y)
    assert asked == [((64,), 10)]
    assert net.score(x, y) > 0.9
    with pytest.raises(ConfigError, match="hidden is an option of models with a name"):
        DLKitClassifier(build, hidden=(5,)).fit(x, y)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model": "mpl"}, ConfigError, "did you mean 'mlp'"),
        ({"optimizer": "adma"}, ConfigError, "DLKitClassifier: unknown optimizer 'adma'.*did you mean 'adam'"),
        ({"epochs": 0}, ConfigError, r"epochs \(=0\) must be at least 1"),
        ({"lr": -1.0}, ConfigError, "lr .* must be positive"),
        ({"image_shape": (2, 2, 1)}, ShapeError, "number of features .=6."),
        ({"dtype": "float16"}, DTypeError, "dtype .='float16'. must be"),
        ({"width": 3}, ConfigError, "model 'mlp' has no option 'width'"),
        ({"lr": 1e30, "optimizer": "sgd", "epochs": 50}, DivergedError, "the loss became .* try a lower lr"),
    ],
)
def test_wrong_parameters_are_named(settings, error, message):
    with np.errstate(all="ignore"), pytest.raises(error, match=message):
        DLKitClassifier(random_state=0, **settings).fit(X, Y)


def test_wrong_calls_of_partial_fit_are_named():
    with pytest.raises(ConfigError, match="first partial_fit needs classes"):
        DLKitClassifier().partial_fit(X, Y)
    net = DLKitClassifier().partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ConfigError, match="not those of the first fit"):
        net.partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ConfigError, match=r"labels .*2.* that are not among the classes"):
        net.partial_fit(X, Y + 1)


def test_ops_stay_themselves_when_pickled():
    assert pickle.loads(pickle.dumps(ops.gelu)) is ops.gelu
