//! The types of PostGIS, with and without reference system, Z and M.

use anyhow::{Context, Result, ensure};
use harness::TestEnv;
use serde_json::json;

use super::Column;
use super::Show::{Ewkb, Plain};
use super::compare;

#[test]
fn spatial_values_arrive_as_ewkb_with_their_reference_system() -> Result<()> {
    let env = TestEnv::shared()?;
    if env.lacks_postgis()? {
        return Ok(());
    }
    env.run(async {
        let columns = [
            Column(
                "geometry",
                Ewkb,
                &[
                    "'POINT(1 -2.5)'",
                    "'SRID=4326;POINT(13.4 52.5)'",
                    "'SRID=3857;POINT Z (1 2 3)'",
                    "'POINT M (1 2 4)'",
                    "'POINT ZM (1 2 3 4)'",
                    "'POINT EMPTY'",
                    "'SRID=4326;POLYGON EMPTY'",
                    "'POLYGON((0 0,0 9,9 9,9 0,0 0),(1 1,1 2,2 2,1 1))'",
                    "'SRID=25832;MULTIPOLYGON Z (((0 0 1,0 1 1,1 1 1,0 0 1)))'",
                    "'LINESTRING(0 0,1 1,1e300 -1e-300)'",
                    "'GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1),GEOMETRYCOLLECTION EMPTY)'",
                    "'CIRCULARSTRING(0 0,1 1,2 0)'",
                    "'TIN(((0 0 0,0 0 1,0 1 0,0 0 0)))'",
                    "st_segmentize('LINESTRING(0 0,100000 0)'::geometry, 10)",
                ],
            ),
            Column("geometry(Point,4326)", Ewkb, &["'SRID=4326;POINT(1 2)'"]),
            Column("geometry(PointZM)", Ewkb, &["'POINT ZM (1 2 3 4)'", "'POINT ZM EMPTY'"]),
            Column(
                "geography",
                Ewkb,
                &[
                    "'POINT(13.4 52.5)'",
                    "'SRID=4267;POINT(-110 30)'",
                    "'POLYGON((0 0,0 1,1 1,0 0))'",
                    "'POINT EMPTY'",
                    "'LINESTRING ZM (0 0 1 2,1 1 3 4)'",
                ],
            ),
            Column("geography(Polygon,4326)", Ewkb, &["'POLYGON((0 0,0 1,1 1,0 0))'"]),
            Column("place", Ewkb, &["'SRID=4326;POINT(7 8)'"]),
            Column(
                "geometry[]",
                Plain,
                &["array['SRID=4326;POINT(1 2)', null, 'POINT EMPTY']::geometry[]", "'{}'"],
            ),
            Column("geography[]", Plain, &["array['POINT(1 2)'::geography]"]),
            Column("box2d", Plain, &["'BOX(1 2,3 4)'"]),
            Column("box3d", Plain, &["'BOX3D(1 2 3,4 5 6)'"]),
        ];
        let setup = "create extension postgis; create domain place as geometry(Point,4326)";
        let manifest = compare("spatial", setup, &columns).await?;
        // the primary key too
        let counts = json!({ "exact": 1, "widened": 6, "string": 4, "lossy": 0 });
        ensure!(manifest["fidelity"] == counts, "{}", manifest["fidelity"]);
        for column in manifest["columns"].as_array().context("columns")? {
            let name = column["name"].as_str().unwrap_or_default();
            let wanted = match name {
                "id" => "int32",
                "c6" | "c7" | "c8" | "c9" => "asText",
                _ => "binary",
            };
            ensure!(column["target"] == wanted, "{column}");
        }
        Ok(())
    })
}
