//! A store that closes a body before its end, as S3 does to one that is read slowly.

use anyhow::{Result, ensure};
use harness::{Calls, Fault, Proxy, Speaks};
use serde_json::json;

use crate::{Bench, in_env, printed, refused};

#[test]
fn manifest_download_cut_repeatedly_resumes_and_completes() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("cut", "PE", 2000).await?;
        bench.job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 16 });
        printed(&bench.run(&[]).await?)?;
        let s3 = Proxy::start(Speaks::S3).await?;
        bench.job["spec"]["output"]["endpoint"] = json!(s3.url());
        // the records and the manifest: each is sent by halves
        for object in ["manifest.json", "partitions/"] {
            s3.on_some("GetObject", object, Calls::UpTo(4), Fault::CutBody);
        }
        let verified = bench.command("verify", &[]).await?;
        ensure!(verified.code == Some(0), "{} {}", verified.stdout, verified.stderr);
        // a body that never comes to its end is given up
        s3.on_some("GetObject", "manifest.json", Calls::Every, Fault::CutBody);
        let before = s3.asked("GetObject").len();
        refused(&bench.command("verify", &[]).await?, 75, "StorageUnreachable")?;
        let asked = s3.asked("GetObject").len() - before;
        ensure!(asked < 40, "{asked} requests");
        Ok(())
    })
}
