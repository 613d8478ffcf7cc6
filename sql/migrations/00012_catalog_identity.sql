-- Which catalog this is, so that its agents notice that the bucket is another one's, and whether it knows all that the bucket has.
-- Locks: catalog, a table of one row, for the moment that it is rewritten. The previous release goes on: it knows none of this, and an adoption by it
-- leaves complete_incarnation behind, so that nobody sweeps afterwards.

-- +goose Up

ALTER TABLE catalog
    ADD COLUMN catalog_id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN complete_incarnation smallint NOT NULL DEFAULT 0;
COMMENT ON COLUMN catalog.catalog_id IS 'Random; checkpoints carry it. A restored backup has that of the catalog it was made of.';
COMMENT ON COLUMN catalog.complete_incarnation IS 'Newest incarnation that began with all that the bucket had. Below incarnation: the catalog was adopted without the bucket, and objects of lost transactions, which it does not know, look like orphans: nothing is swept.';
