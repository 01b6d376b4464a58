"""Every tracker that ships keeps the contract."""

from __future__ import annotations

import pytest

from daskcast.testing import TrackerContract

# MLflow 3.17 asks SQLAlchemy 2.1 for a loader strategy that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


class TestMemoryTracker(TrackerContract):
    """In memory."""

    @pytest.fixture
    def store(self, memory_store):
        return memory_store


class TestMlflowTrackerOneByOne(TrackerContract):
    """MLflow, talking to a SQLite file itself by its own calls."""

    @pytest.fixture
    def store(self, one_by_one_store):
        return one_by_one_store


class TestMlflowTrackerOnSqlite(TrackerContract):
    """MLflow on a SQLite file, many runs in a transaction."""

    @pytest.fixture
    def store(self, sqlite_store):
        return sqlite_store


@pytest.mark.integration
class TestMlflowTrackerOnPostgres(TrackerContract):
    """MLflow on PostgreSQL, many runs in a transaction."""

    @pytest.fixture
    def store(self, postgres_store):
        return postgres_store


@pytest.mark.integration
class TestMlflowTrackerOnServer(TrackerContract):
    """MLflow, through a server process."""

    @pytest.fixture
    def store(self, server_store):
        return server_store


@pytest.mark.integration
class TestMlflowTrackerOnBulkServer(TrackerContract):
    """MLflow, through a server that takes many runs in a request."""

    @pytest.fixture
    def store(self, bulk_store):
        return bulk_store
