import alembic.migration
import alembic.operations
import sqlalchemy as sa

from tygerd.catalog.migrations import r0001, r0002


def test_it_adds_accounts_and_what_is_known_about_shipping(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'catalog'}")
    with engine.begin() as connection:
        operations = alembic.operations.Operations(alembic.migration.MigrationContext.configure(connection))
        r0001.upgrade(operations)
        r0002.upgrade(operations)
        inspector = sa.inspect(connection)
        added = [column["name"] for column in inspector.get_columns("transfers")[-6:]]
        assert added == ["account", "paused", "stalled", "priority", "shipped", "code"]
        assert inspector.get_columns("buffers")[-1]["name"] == "account"
    engine.dispose()
