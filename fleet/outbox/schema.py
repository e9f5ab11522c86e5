"""Which tables does the outbox's file have, in every version of them that was ever released?"""

#: one tuple of statements per schema version; ``PRAGMA user_version`` counts how many have run
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # AUTOINCREMENT: no number is used again, so the one that an operator discards is the one he saw.
        """
        CREATE TABLE message (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            queue TEXT NOT NULL,
            task_id TEXT NOT NULL,
            message TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            first_sent REAL NOT NULL,
            refusal TEXT,
            refused REAL
        ) STRICT
        """,
        # Holds all that a summary needs, so that one never reads the messages.
        "CREATE INDEX message_in_order ON message (queue, number, bytes, first_sent)",
        """
        CREATE TABLE box (
            only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
            fleet TEXT NOT NULL,
            max_messages INTEGER NOT NULL,
            max_bytes INTEGER NOT NULL,
            messages INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            last_forward REAL
        ) STRICT
        """,
        "INSERT INTO box VALUES (1, :fleet, :max_messages, :max_bytes, 0, 0, NULL)",
        """
        CREATE TRIGGER message_came AFTER INSERT ON message BEGIN
            UPDATE box SET messages = messages + 1, bytes = bytes + NEW.bytes;
        END
        """,
        """
        CREATE TRIGGER message_went AFTER DELETE ON message BEGIN
            UPDATE box SET messages = messages - 1, bytes = bytes - OLD.bytes;
        END
        """,
    ),
)
