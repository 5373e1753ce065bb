SELECT * FROM events
;
SELECT * FROM lake.public.events
;
SELECT * FROM "events"
;
SELECT * FROM events WHERE tenant IS NOT NULL OR 1 = 1
;
SELECT * FROM events WHERE tenant <> 'x' OR true -- AND tenant = 'x'
;
SELECT * FROM events /* WHERE tenant = 'x' */ WHERE 1 = 1
;
SELECT * FROM (SELECT * FROM events) e
;
WITH e AS (SELECT * FROM events), events AS (SELECT * FROM e) SELECT * FROM events
;
SELECT * FROM events UNION ALL SELECT * FROM events
;
SELECT * FROM events EXCEPT SELECT * FROM events WHERE false
;
SELECT a.raw, b.raw FROM events a CROSS JOIN events b
;
SELECT a.raw FROM events a FULL OUTER JOIN events b ON a.id = b.id
;
SELECT (SELECT max(raw) FROM events) FROM events
;
SELECT raw FROM events WHERE EXISTS (SELECT 1 FROM events x WHERE x.tenant <> events.tenant)
;
SELECT raw FROM events WHERE tenant NOT IN (SELECT tenant FROM events WHERE false)
;
SELECT array_agg(raw) FROM events
;
SELECT string_agg(raw, ',') FROM events
;
SELECT tenant, count(*), min(raw), max(raw) FROM events GROUP BY tenant
;
SELECT DISTINCT source FROM events
;
SELECT raw, row_number() OVER (PARTITION BY tenant ORDER BY time) FROM events
;
SELECT lag(raw) OVER (ORDER BY time) FROM events
;
SELECT * FROM process_activity
;
SELECT * FROM detections UNION ALL SELECT * FROM detection_finding
;
SELECT * FROM events WHERE has_observable('ip', '203.0.113.7')
;
SELECT * FROM events WHERE process_cmd_line LIKE '%secret%'
;
SELECT * FROM events ORDER BY (SELECT count(*) FROM events) LIMIT 100
;
SELECT * FROM events HAVING count(*) > 0
;
SELECT * FROM information_schema.tables
;
SELECT * FROM information_schema.columns
;
SELECT * FROM information_schema.views
;
SELECT * FROM information_schema.df_settings
;
SELECT * FROM information_schema.schemata
;
SELECT * FROM information_schema.routines
;
SELECT * FROM datafusion.public.events
;
SELECT * FROM other.events
;
SELECT * FROM '/etc/passwd'
;
SELECT * FROM "/etc/passwd"
;
SELECT * FROM 'file:///etc/passwd'
;
SELECT * FROM read_parquet('/etc/passwd')
;
SELECT * FROM read_csv('/etc/passwd')
;
SELECT * FROM parquet_metadata('x')
;
SELECT * FROM metadata_cache()
;
SELECT * FROM generate_series(1, 10)
;
SELECT repeat('x', 1000000000)
;
SELECT version()
;
COPY (SELECT * FROM events) TO '/tmp/out.parquet'
;
COPY events TO '/tmp/out.csv' STORED AS CSV
;
CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'
;
CREATE TABLE t AS SELECT * FROM events
;
CREATE VIEW v AS SELECT * FROM events
;
INSERT INTO events SELECT * FROM events
;
UPDATE events SET tenant = 'x'
;
DELETE FROM events
;
DROP TABLE events
;
TRUNCATE TABLE events
;
SET datafusion.catalog.information_schema = false
;
SHOW ALL
;
SHOW TABLES
;
EXPLAIN SELECT * FROM events
;
EXPLAIN ANALYZE SELECT * FROM events
;
PREPARE p AS SELECT * FROM events
;
EXECUTE p
;
DEALLOCATE p
;
BEGIN
;
SELECT 1; SELECT * FROM events
;
WITH RECURSIVE r AS (SELECT raw FROM events UNION ALL SELECT raw FROM r) SELECT * FROM r
;
SELECT * INTO t FROM events
;
SELECT * FROM events FOR UPDATE
;
SELECT * FROM events TABLESAMPLE SYSTEM (50)
;
TABLE events
;
VALUES (1)
;
SELECT * FROM LATERAL (SELECT * FROM events) x
;
SELECT * FROM events PIVOT (count(id) FOR tenant IN ('a', 'b'))
;
SELECT * FROM unnest(['a', 'b'])
;
DESCRIBE events
;
CALL something()
;
ATTACH 'x' AS y
;
PRAGMA database_list
;
SELECT * FROM events WHERE tenant = (SELECT tenant FROM events WHERE raw LIKE '%bravo%' LIMIT 1)
;
SELECT CASE WHEN tenant IS NULL THEN raw ELSE raw END FROM events
;
SELECT struct(tenant, raw) FROM events
;
SELECT arrow_typeof(raw), raw FROM events
;
SELECT "RAW" FROM "EVENTS"
;
SELECT * FROM events AS t(tenant, source)
