//! Lists of runners over several pages.

use std::collections::BTreeSet;

use dayfly_core::ports::Forge;

use crate::fixture::{Fixture, opened, runner};

#[tokio::test]
async fn a_list_of_several_pages_is_whole() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let (set, _) = opened(&github).await;
    let names: Vec<_> = (0..250).map(runner).collect();
    let minted =
        futures_util::future::join_all(names.iter().map(|name| github.mint(set, name))).await;
    let minted: BTreeSet<_> = minted.into_iter().map(|minted| minted.unwrap().id).collect();
    assert_eq!(minted.len(), 250);
    let listed: BTreeSet<_> =
        github.list_runners().await.unwrap().into_iter().map(|record| record.id).collect();
    assert_eq!(listed, minted);
    assert_eq!(fixture.calls("runners.list").await, 3);
}

#[tokio::test]
async fn a_name_is_looked_up_exactly() {
    let (_fixture, github) = Fixture::with_token("acme").await;
    let (set, _) = opened(&github).await;
    let minted = github.mint(set, &runner(5)).await.unwrap();
    github.mint(set, &runner(6)).await.unwrap();
    let record = github.find_runner(&runner(5)).await.unwrap().unwrap();
    assert_eq!((record.id, record.name.as_str()), (minted.id, runner(5).as_str()));
}
