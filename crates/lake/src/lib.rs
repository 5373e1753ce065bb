//! The lake: Arrow and Parquet tables, hot batches, SQL.
