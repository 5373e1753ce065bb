//! The store from outside, on both engines: `SQLite` always, `PostgreSQL` where `POSSE_TEST_POSTGRES_URL` is set
//! (`script/postgres -- cargo nextest run -p store`).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may fail loudly")]

mod audit;
mod commits;
mod crash;
mod documents;
mod fixture;
mod jobs;
mod lake;
mod lake_crash;
mod messages;
mod opening;
