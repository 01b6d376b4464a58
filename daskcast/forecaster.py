"""A forecaster that is fitted once and asked again: predict, update, save, load.

Covers :class:`Forecaster`, what people call. Does not cover what it has done (``fitted``) or what
it keeps (``bundle``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from daskcast import fitted, picture
from daskcast.api import cross_validation, forecast
from daskcast.errors import ConfigError, StoreError
from daskcast.records import Status
from daskcast.redact import redact_uri
from daskcast.runs import FAILURE_COLUMNS, Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike
    from typing import Unpack

    import pandas as pd
    from matplotlib.figure import Figure

    from daskcast.bundle import Bundle
    from daskcast.fitted import Where

DEFAULT_H = 12
"""Horizon that a model is tuned for, where neither it nor a season is given."""

NEW = ("fail", "fit")


class Forecaster(BaseEstimator):  # type: ignore[misc]
    """Models of many series that are tuned once and asked again.

    Parameters
    ----------
    h : int, optional
        Steps that the models are tuned for. Where not given, ``season_length``, else 12.
    id_col, time_col, target_col : str
        Columns of the entity, the time and the value.
    freq : str or int, optional
        See :func:`daskcast.forecast`, as for all that follow.
    season_length : int, optional
    level : float or sequence of float
        Intervals, in percent.
    search : {"skopt", "portfolio"}
    trials : int
    search_seconds : float, optional
    cv_windows, step_size : int
    loss : {"mase", "rmsse", "mae", "rmse", "smape"}
    select : {"blend", "best"}
    models : sequence of str
    seed : int
    gaps : {"skip", "fail"}
    duplicates : {"fail", "sum", "mean", "last"}
    non_negative : bool

    Attributes
    ----------
    entities_ : DataFrame
        As ``Run.entities``, of the fit: status, model, recipe (``params``, as JSON), scores.
    failures_ : DataFrame
        Entities that failed or fell back when this was last fitted, predicted or refitted.
    trials_ : DataFrame
        As ``Run.trials``; a loaded model has none.
    cutoffs_ : DataFrame
        The last known time of each entity, in the column ``cutoff``.
    history_ : DataFrame
        All rows that the forecasts start from.
    h_ : int
        The horizon that the models were tuned for.
    run_ : Run
        The run of the fit; a loaded model has none.

    Notes
    -----
    The methods that compute take keywords for where and how: ``client``, ``cluster``, ``workers``,
    ``threads_per_worker``, ``batch_size``, ``tracking``, ``experiment``, ``track_detail``,
    ``tags``, ``out``, ``resume``, ``retry_failed``, ``entity_timeout``, ``on_progress``; see
    :func:`daskcast.forecast`. None of them changes a forecast. Options that are
    changed after a fit take effect at the next one.

    Examples
    --------
    >>> from daskcast import Forecaster, demo
    >>> model = Forecaster(season_length=12, search="portfolio")
    >>> model.fit(demo.airports(8)).predict(3).columns.tolist()[:4]  # doctest: +SKIP
    ['unique_id', 'ds', 'cutoff', 'daskcast']
    """

    def __init__(  # noqa: PLR0913 - one for each option, as scikit-learn wants it
        self,
        *,
        h: int | None = None,
        id_col: str = "unique_id",
        time_col: str = "ds",
        target_col: str = "y",
        freq: str | int | None = None,
        season_length: int | None = None,
        level: float | Sequence[float] = (80, 95),
        search: str = "skopt",
        trials: int = 24,
        search_seconds: float | None = None,
        cv_windows: int = 3,
        step_size: int | None = None,
        loss: str = "mase",
        select: str = "blend",
        models: Sequence[str] = ("ets", "theta", "ces"),
        seed: int = 0,
        gaps: str = "skip",
        duplicates: str = "fail",
        non_negative: bool = False,
    ) -> None:
        self.h = h
        self.id_col = id_col
        self.time_col = time_col
        self.target_col = target_col
        self.freq = freq
        self.season_length = season_length
        self.level = level
        self.search = search
        self.trials = trials
        self.search_seconds = search_seconds
        self.cv_windows = cv_windows
        self.step_size = step_size
        self.loss = loss
        self.select = select
        self.models = models
        self.seed = seed
        self.gaps = gaps
        self.duplicates = duplicates
        self.non_negative = non_negative

    # -- fit and predict --

    def fit(self, df: object, **where: Unpack[Where]) -> Self:
        """Tune a model for every entity, and keep its recipe and its history.

        Parameters
        ----------
        df : DataFrame or path
            As :func:`daskcast.forecast` takes it. Its three columns are kept in this process.
        **where
            Where and how, see the notes of the class.

        Raises
        ------
        ConfigError, DataError, StoreError, ClusterError, StoppedError
            As :func:`daskcast.forecast`.
        """
        self.bundle_, self.run_ = fitted.fit(df, self._horizon(), self._options(), **where)
        self.failures_ = self.run_.failures
        return self

    def predict(
        self,
        h: int | None = None,
        level: float | Sequence[float] | None = None,
        **where: Unpack[Where],
    ) -> pd.DataFrame:
        """Forecast every entity from its history by its recipe, without a search.

        With the horizon and levels of the fit, the forecasts are those of
        :func:`daskcast.forecast` with the same options, to the bit.

        Parameters
        ----------
        h : int, optional
            Steps; None takes those of the fit.
        level : float or sequence of float, optional
            Intervals, in percent; None takes those of the fit.
        **where
            Where and how, see the notes of the class.

        Returns
        -------
        DataFrame
            As ``Run.forecasts``. An entity that failed has no row; ``failures_`` says why, and
            which recipes could not be used any more, so that a naive method took their place.
        """
        run = fitted.cook(self._bundle(), h, level, **where)
        self.failures_ = run.failures
        return run.forecasts

    def forecast(self, df: object, h: int | None = None, **where: Unpack[Where]) -> Run:
        """Fit and predict in one run, and keep nothing: the least memory for a large table.

        Parameters
        ----------
        df : DataFrame or path
        h : int, optional
            None takes the horizon of the fit.
        **where
            Where and how, see the notes of the class.

        Returns
        -------
        Run
            As :func:`daskcast.forecast`.
        """
        return forecast(df, self._horizon() if h is None else h, **self._options(), **where)

    # -- new months --

    def update(
        self,
        df_new: object,
        *,
        revise: bool = False,
        refit: bool = False,
        new: str = "fail",
        **where: Unpack[Where],
    ) -> Self:
        """Append new rows to the history; the recipes stay, only their states move on.

        Parameters
        ----------
        df_new : DataFrame or path
            Rows after the last known time of their entities. Rows of a known time with the known
            value are accepted. It need not name every entity.
        revise : bool
            Take other values for known times, and rows before the last known time, as corrections
            of the history. Otherwise both are refused.
        refit : bool
            Estimate the parameters of every entity afresh; forms and weights stay. One whose forms
            cannot be fitted any more keeps its recipe, and is in ``failures_``.
        new : {"fail", "fit"}
            Refuse entities that the model does not know, or tune models for them; ``fit`` also
            tunes known ones that failed and have new rows.
        **where
            Where and how, for ``refit`` and ``new="fit"``; see the notes of the class.

        Raises
        ------
        DataError
            Where rows are refused; the model then is as it was.
        """
        if new not in NEW:
            raise ConfigError(f"new must be one of {', '.join(NEW)}; found {new!r}")
        bundle = fitted.update(self._bundle(), df_new, revise=revise, fit_new=new == "fit", **where)
        failures = _failures_of(bundle)
        if refit:
            bundle, failures = fitted.refit(bundle, **where)
        self.bundle_, self.failures_ = bundle, failures
        return self

    # -- evaluation and pictures --

    def cross_validation(
        self,
        df: object,
        h: int | None = None,
        *,
        n_windows: int = 3,
        step_size: int | None = None,
        refit: bool | int = True,
        input_size: int | None = None,
        **where: Unpack[Where],
    ) -> pd.DataFrame:
        """Forecast windows of the past, each from what was known before it.

        Parameters
        ----------
        df : DataFrame or path
        h : int, optional
            None takes the horizon of the fit.
        n_windows : int
        step_size : int, optional
            Steps between two cutoffs; None takes ``h``.
        refit : bool or int
            Tune again at each cutoff, or at every so manieth; False keeps the first recipe.
        input_size : int, optional
            Observations before a cutoff that are used; None takes all.
        **where
            Where and how, see the notes of the class.

        Returns
        -------
        DataFrame
            Id, time, ``cutoff``, the value that came, the forecast and its intervals.
        """
        options = self._options()
        options.pop("step_size")  # of the tuning; this one is of the windows
        run = cross_validation(
            df,
            self._horizon() if h is None else h,
            n_windows=n_windows,
            step_size=step_size,
            refit=refit,
            input_size=input_size,
            **options,
            **where,
        )
        frame: pd.DataFrame = run.forecasts
        return frame

    def plot(
        self,
        unique_ids: Sequence[str] | None = None,
        n: int = 4,
        *,
        h: int | None = None,
        level: float | Sequence[float] | None = None,
        max_insample_length: int | None = None,
    ) -> Figure:
        """Draw the history and the forecast of some entities.

        Parameters
        ----------
        unique_ids : sequence of str, optional
            None takes the first ones that have a forecast.
        n : int
            How many, where they are not named.
        h, level
            As in :meth:`predict`.
        max_insample_length : int, optional
            The last observations alone.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        DataError
            Where the model does not know an entity.
        ImportError
            Where ``utilsforecast`` or ``matplotlib`` is not installed.
        """
        return picture.draw(
            self._bundle(),
            unique_ids,
            n,
            h=h,
            level=level,
            max_insample_length=max_insample_length,
        )

    # -- keeping --

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Save the fitted model: a folder of JSON and Parquet.

        Parameters
        ----------
        path : path or URL
            A folder, made where it is not there.
        overwrite : bool
            Take the place of a model that is there; if that is interrupted, none is left.

        Raises
        ------
        StoreError
            Where the folder holds a model already, or cannot be written.
        """
        fitted.save(self._bundle(), path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | PathLike[str], models: Mapping[str, Any] | None = None) -> Self:
        """Load a model that :meth:`save` wrote; nothing in it is executed.

        Parameters
        ----------
        path : path or URL
        models : mapping of str to object, optional
            Own models by name, where the model was fitted with some: code is not saved.

        Raises
        ------
        StoreError
            Where there is no model, or it is damaged, half-written or of another format.
        """
        bundle = fitted.load(path, models)
        if unknown := sorted(set(bundle.options) - set(cls._get_param_names())):
            raise StoreError(
                f"the model at {redact_uri(str(path))} has options that this version of daskcast "
                f"does not know: {', '.join(unknown)}; load it with the version that saved it"
            )
        found = cls(h=bundle.h, **bundle.options)
        found.bundle_, found.failures_ = bundle, _failures_of(bundle)
        return found

    # -- what was fitted --

    @property
    def entities_(self) -> pd.DataFrame:
        """What became of each entity at the fit, with its recipe as JSON in ``params``."""
        return self._bundle().entities_frame()

    @property
    def trials_(self) -> pd.DataFrame:
        """All that the search of the fit tried; a loaded model has none."""
        self._bundle()
        if not hasattr(self, "run_"):
            raise AttributeError("a loaded model has no trials; they are in the folder of its run")
        return self.run_.trials

    @property
    def history_(self) -> pd.DataFrame:
        """All rows that the forecasts start from, by id and time."""
        return self._bundle().history_frame()

    @property
    def cutoffs_(self) -> pd.DataFrame:
        """The last known time of each entity."""
        return self._bundle().cutoffs_frame()

    @property
    def h_(self) -> int:
        """The horizon that the models were tuned for."""
        return self._bundle().h

    def _bundle(self) -> Bundle:
        if not hasattr(self, "bundle_"):
            raise NotFittedError("this Forecaster is not fitted yet; call fit(df), or load a model")
        bundle: Bundle = self.bundle_
        return bundle

    def _options(self) -> dict[str, Any]:
        return {name: v for name, v in self.get_params(deep=False).items() if name != "h"}

    def _horizon(self) -> int:
        given = (self.h, self.season_length, DEFAULT_H)
        return next(h for h in given if h is not None)


def _failures_of(bundle: Bundle) -> pd.DataFrame:
    frame = bundle.entities_frame()
    bad = frame["status"] != Status.OK.value
    return frame.loc[bad, [bundle.columns.entity, *FAILURE_COLUMNS]].reset_index(drop=True)
