//! What clients of Elasticsearch ask before they send: version, licence, whether templates and policies are there.
//! Answered as data, so that a shipper with its defaults starts to send; nothing is ever installed or changed.

/// Clients of Elasticsearch 7.14 and later refuse a server whose answers lack this header with the value
/// `Elasticsearch`.
pub const PRODUCT_HEADER: (&str, &str) = ("x-elastic-product", "Elasticsearch");

/// An HTTP answer: status and JSON body (empty for HEAD).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
}

/// What the server says it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Product {
    /// A version of the wire protocol that clients check, for example `8.17.0`. Beats refuse servers older than
    /// themselves unless told otherwise.
    pub version: String,
    /// A stable name of this installation.
    pub cluster_uuid: String,
}

/// The answer to a request other than `_bulk`; none where the path is no part of a handshake (404).
/// `path` is below the mount point, with or without a slash at its start, and without query.
#[must_use]
pub fn handshake(method: &str, path: &str, product: &Product) -> Option<Answer> {
    let path = path.trim_matches('/');
    let reading = matches!(method, "GET" | "HEAD");
    let first = path.split('/').next().unwrap_or_default();
    let body = match (path, first) {
        ("", _) if reading => root(product),
        ("_license", _) if reading => license(product),
        ("_xpack", _) if reading => xpack(product),
        ("_cluster/health", _) if reading => health(),
        // Templates, policies and pipelines exist as far as a shipper is concerned: it then installs none.
        (_, "_template" | "_index_template" | "_component_template" | "_ilm" | "_data_stream") if reading => {
            serde_json::json!({})
        }
        _ => return None,
    };
    Some(Answer { status: 200, body: if method == "HEAD" { String::new() } else { body.to_string() } })
}

fn root(product: &Product) -> serde_json::Value {
    serde_json::json!({
        "name": "posse",
        "cluster_name": "posse",
        "cluster_uuid": product.cluster_uuid,
        "version": {
            "number": product.version,
            "build_flavor": "default",
            "build_type": "tar",
            "build_snapshot": false,
            "minimum_wire_compatibility_version": "7.17.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
        "tagline": "You Know, for Search",
    })
}

fn license(product: &Product) -> serde_json::Value {
    serde_json::json!({
        "license": {
            "status": "active",
            "uid": product.cluster_uuid,
            "type": "basic",
            "issued_to": "posse",
            "issuer": "posse",
            "start_date_in_millis": -1,
        },
    })
}

fn xpack(product: &Product) -> serde_json::Value {
    serde_json::json!({
        "license": { "uid": product.cluster_uuid, "type": "basic", "mode": "basic", "status": "active" },
        "features": { "ilm": { "available": true, "enabled": true } },
    })
}

fn health() -> serde_json::Value {
    serde_json::json!({
        "cluster_name": "posse", "status": "green", "timed_out": false,
        "number_of_nodes": 1, "number_of_data_nodes": 1,
    })
}
