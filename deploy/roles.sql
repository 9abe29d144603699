-- Two roles for a memory: one that makes tables, one that works in them. docs/deployment.md, Rights.
-- Run once, before the first start, as a superuser in the memory's own database:
--   docker compose -f deploy/compose.yaml exec -T postgres psql -U postgres -d memory < deploy/roles.sql
-- and give each a password with \password in psql.
CREATE ROLE memory_owner LOGIN;
CREATE ROLE memory_app LOGIN;

-- The owner makes the schemas rag_memory, rag_memory_vectors and rag_memory_ledger in this database.
GRANT CREATE ON DATABASE memory TO memory_owner;
CREATE EXTENSION IF NOT EXISTS vector SCHEMA public;  -- only for index="pgvector"

-- What the owner makes, now and in later versions, the other may use.
ALTER DEFAULT PRIVILEGES FOR ROLE memory_owner GRANT USAGE ON SCHEMAS TO memory_app;
ALTER DEFAULT PRIVILEGES FOR ROLE memory_owner GRANT USAGE ON SEQUENCES TO memory_app;
ALTER DEFAULT PRIVILEGES FOR ROLE memory_owner
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO memory_app;

-- An erase vacuums its tables (PostgreSQL 17 or newer has this right; before, only owners vacuum)
-- and waits for whoever still sees an old state, which only this lets it see.
ALTER DEFAULT PRIVILEGES FOR ROLE memory_owner GRANT MAINTAIN ON TABLES TO memory_app;
GRANT pg_read_all_stats TO memory_owner, memory_app;
